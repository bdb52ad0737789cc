package service

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/config"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/seal"
)

// Settings are those that every service has.
type Settings struct {
	PostgresParams          string
	AMQPURL, AMQPPrefix     string
	Listen, Admin, Internal string
	InternalToken           string
	Auth, AuthTokensFile    string
	LogLevel                slog.Level
	Migrate                 string
	Keys                    *seal.Keys
}

// Values of MIGRATE.
const (
	migrateAuto   = "auto"
	migrateVerify = "verify"
)

// declareMigrate declares what applying migrations needs: no keys, no listeners.
func (s *Settings) declareMigrate(set *config.Set) {
	set.Func("POSTGRES_PARAMS", "", "the database, as a URL or libpq keywords", func(text string) error {
		s.PostgresParams = text
		return postgres.Check(text)
	}, config.Required(), config.Link())
	set.Func("LOG_LEVEL", "info", "debug, info, warn or error", func(text string) error {
		if s.LogLevel.UnmarshalText([]byte(text)) != nil {
			return errors.New("must be debug, info, warn or error")
		}
		return nil
	})
}

// declareServe declares everything.
func (s *Settings) declareServe(set *config.Set, spec Spec) {
	s.declareMigrate(set)
	set.Func("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/", "the message broker", func(text string) error {
		s.AMQPURL = text
		return amqp.Config{URL: text}.Validate()
	}, config.Required(), config.Link())
	set.String(&s.AMQPPrefix, "AMQP_PREFIX", "", "goes before the names of exchanges and queues")
	set.String(&s.Listen, "LISTEN_ADDR", spec.Listen, "address of the API", config.Required())
	set.String(&s.Admin, "ADMIN_ADDR", spec.Admin, "address of health, metrics and profiles", config.Required())
	set.String(&s.Internal, "INTERNAL_ADDR", spec.Internal, "address for the other services", config.Required())
	set.String(&s.InternalToken, "INTERNAL_TOKEN", "", "bearer token of the internal listeners; may be empty on loopback", config.Secret())
	set.String(&s.Auth, "AUTH", "none", "how callers are known; none only on loopback", config.OneOf("none", "token"))
	set.String(&s.AuthTokensFile, "AUTH_TOKENS_FILE", "", "hashed tokens and rules in YAML, for AUTH=token")
	set.String(&s.Migrate, "MIGRATE", migrateVerify, "auto applies migrations at start, verify waits until they are applied",
		config.OneOf(migrateAuto, migrateVerify))
	if spec.Seals {
		set.Func("SEAL_KEYS", "", "keys for sealed values, newest first", func(text string) (err error) {
			s.Keys, err = seal.Parse(text)
			return err
		}, config.Required(), config.Secret())
	}
	if spec.Settings != nil {
		spec.Settings(set)
	}
}

// authenticator builds what AUTH asks for, and refuses listeners that would let strangers in.
func (s *Settings) authenticator() (auth.Authenticator, error) {
	if s.InternalToken == "" && !loopback(s.Internal) {
		return nil, errors.New("INTERNAL_TOKEN is required unless INTERNAL_ADDR is on loopback")
	}
	switch {
	case s.Auth == "token" && s.AuthTokensFile == "":
		return nil, errors.New("AUTH_TOKENS_FILE is required by AUTH=token")
	case s.Auth == "token":
		return auth.NewTokens(s.AuthTokensFile)
	case !loopback(s.Listen):
		return nil, errors.New("AUTH=none is only possible when LISTEN_ADDR is on loopback, such as 127.0.0.1:7071")
	}
	return auth.NewNone(), nil
}

// loopback reports whether only this machine can reach the address. Names other than localhost may mean anything.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
