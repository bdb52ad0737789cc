// Package outbox carries changes from a service's transactions to whoever wants to know of them.
//
//	writer's transaction        relay (one active per service)                    readers
//	document + outbox row  -->  sequence: outbox row -> event, dense revision -->  Log: the feed, resume from any revision
//	                            publish: in revision order, confirmed         -->  exchange: the doorbell
//
// A change is in the log exactly once and in the order of commits per object. On the exchange it may come twice or, when a broker
// loses its disk, not at all; previous revisions and bookmarks show such a gap, and the log fills it.
package outbox
