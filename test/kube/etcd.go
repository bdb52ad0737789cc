package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// serveEtcd runs one etcd member until SIGTERM or SIGINT. Its data is not synced to disk: a target made for a test may lose it.
func serveEtcd(args []string) int {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	dir := flags.String("data-dir", "", "folder for the data")
	client := flags.String("client-url", "http://127.0.0.1:2379", "URL to serve clients on")
	peer := flags.String("peer-url", "http://127.0.0.1:2380", "URL to serve peers on")
	_ = flags.Parse(args)
	config, err := etcdConfig(*dir, *client, *peer)
	if err != nil {
		return fail(err)
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fail(err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return fail(fmt.Errorf("not ready after a minute"))
	case <-stop:
		return 0
	}
	select {
	case <-stop:
		return 0
	case err := <-server.Err():
		return fail(err)
	}
}

func etcdConfig(dir, client, peer string) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, fmt.Errorf("--client-url: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("--peer-url: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = dir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	return config, nil
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "kube etcd:", err)
	return 1
}
