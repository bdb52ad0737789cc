// Package database prepares a Postgres server for a local stack: one database, a schema per service with a role of its own that may
// not look into the others, and one role for people that may read and migrate all three.
package database

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
)

const (
	// Name is the database's name.
	Name = "syncsets"
	// Developer is the role for people.
	Developer = "developer"
)

// Schemas are the services' schemas; each is owned by the role of the same name.
var Schemas = []string{"clusters", "syncsets", "reconciler"}

//go:embed schema.sql
var schemaSQL string

//go:embed developer.sql
var developerSQL string

// Prepare creates what is missing and sets the roles' passwords. superuser is the server's URL for its superuser. It returns the
// connection URL of each role, without spaces or query string, so that it needs no quotes in a shell.
func Prepare(ctx context.Context, superuser string, passwords map[string]string) (map[string]string, error) {
	server, err := url.Parse(superuser)
	if err != nil {
		return nil, fmt.Errorf("parse the superuser's URL: %w", err)
	}
	if err := createDatabase(ctx, superuser, passwords); err != nil {
		return nil, err
	}
	if err := createSchemas(ctx, superuser); err != nil {
		return nil, err
	}
	urls := map[string]string{}
	for role, password := range passwords {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: server.Host, Path: "/" + Name}
		urls[role] = u.String()
	}
	return urls, nil
}

func createDatabase(ctx context.Context, superuser string, passwords map[string]string) error {
	return with(ctx, superuser, "", func(c *pgx.Conn) error {
		for role, password := range passwords {
			if err := createRole(ctx, c, role, password); err != nil {
				return err
			}
		}
		var there bool
		err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", Name).Scan(&there)
		if err != nil || there {
			return err
		}
		_, err = c.Exec(ctx, "CREATE DATABASE "+Name)
		return err
	})
}

func createRole(ctx context.Context, c *pgx.Conn, role, password string) error {
	var there bool
	if err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).Scan(&there); err != nil {
		return err
	}
	verb := "CREATE"
	if there {
		verb = "ALTER"
	}
	// Neither statement takes parameters; role and password are ours and hold letters and digits only.
	_, err := c.Exec(ctx, fmt.Sprintf("%s ROLE %s LOGIN PASSWORD '%s'", verb, pgx.Identifier{role}.Sanitize(), password))
	return err
}

func createSchemas(ctx context.Context, superuser string) error {
	return with(ctx, superuser, Name, func(c *pgx.Conn) error {
		for _, schema := range Schemas {
			if _, err := c.Exec(ctx, fmt.Sprintf(schemaSQL, pgx.Identifier{schema}.Sanitize(), Developer)); err != nil {
				return fmt.Errorf("schema %s: %w", schema, err)
			}
		}
		_, err := c.Exec(ctx, developerSQL)
		return err
	})
}

// with runs f on a connection to a database; "" is the one that the URL names.
func with(ctx context.Context, params, database string, f func(*pgx.Conn) error) error {
	config, err := pgx.ParseConfig(params)
	if err != nil {
		return fmt.Errorf("parse the superuser's URL: %w", err)
	}
	if database != "" {
		config.Database = database
	}
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if err := f(c); err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	return nil
}
