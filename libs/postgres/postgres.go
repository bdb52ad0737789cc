// Package postgres is how the services reach their database: a pool with deadlines on everything, transactions that retry what a
// retry mends, errors with a kind, and the schema's migrations.
package postgres

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/errs"
)

// Config says which database to use, and how much of it.
type Config struct {
	// Params is a connection string: a postgres:// URL or keyword=value pairs. Session parameters in it win over the defaults here.
	Params string
	// Application is shown as application_name in pg_stat_activity, unless Params names one.
	Application string
	// MaxConns bounds the pool; 0 takes what Params say, else pgx's default.
	MaxConns int32
}

// defaults are the session parameters of every connection. They end what a dead or stuck client would hold for ever: locks and the
// vacuum horizon.
var defaults = map[string]string{
	"statement_timeout":                   "30s",
	"idle_in_transaction_session_timeout": "30s",
	"tcp_keepalives_idle":                 "10",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
	"tcp_user_timeout":                    "20s",
}

const connectTimeout = 5 * time.Second

// Check says what is wrong with connection parameters without using or repeating them; its error is errs.Invalid.
func Check(params string) error {
	if _, err := pgxpool.ParseConfig(params); err != nil {
		return errs.New(errs.Invalid, "is not a connection string: want postgres://user:password@host:port/database or libpq keywords")
	}
	return nil
}

// Open makes a pool and does not connect. Its error is errs.Invalid: the parameters cannot be understood.
func Open(ctx context.Context, c Config) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(c.Params)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "POSTGRES_PARAMS is not a connection string")
	}
	prepare(config.ConnConfig, c.Application)
	config.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithDisableAcquireTracer())
	if c.MaxConns > 0 {
		config.MaxConns = c.MaxConns
	}
	config.MaxConnLifetimeJitter = 5 * time.Minute
	config.HealthCheckPeriod = 15 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "POSTGRES_PARAMS cannot be used")
	}
	return pool, nil
}

// prepare gives a connection its deadlines and its name.
func prepare(c *pgx.ConnConfig, application string) {
	for name, value := range defaults {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
	if c.RuntimeParams["application_name"] == "" && application != "" {
		c.RuntimeParams["application_name"] = application
	}
	if c.ConnectTimeout == 0 || c.ConnectTimeout > connectTimeout {
		c.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	c.DialFunc = dialer.DialContext
}

// Wait returns when the database answers, or with ctx's error. It says at once that it waits, then twice a minute.
func Wait(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	retry := backoff.New(200*time.Millisecond, 5*time.Second)
	var said time.Time
	for {
		err := ping(ctx, pool)
		if err == nil {
			if !said.IsZero() {
				log.InfoContext(ctx, "postgres answers")
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(said) > 30*time.Second {
			log.WarnContext(ctx, "waiting for postgres", "error", err)
			said = time.Now()
		}
		if err := retry.Wait(ctx); err != nil {
			return err
		}
	}
}

func ping(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return pool.Ping(ctx)
}
