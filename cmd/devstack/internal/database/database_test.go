package database_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/syncsets/syncsets/cmd/devstack/internal/database"
	"github.com/syncsets/syncsets/libs/devstack"
)

var passwords = map[string]string{"clusters": "a1", "syncsets": "b2", "reconciler": "c3", database.Developer: "d4"}

// prepare prepares a server of the test's own, twice: every start of `make run` does it again.
func prepare(t *testing.T) map[string]string {
	t.Helper()
	server, err := devstack.StartPostgres(t.Context(), devstack.PostgresOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	var urls map[string]string
	for range 2 {
		if urls, err = database.Prepare(t.Context(), server.URL, passwords); err != nil {
			t.Fatal(err)
		}
	}
	return urls
}

func TestRolesSeeWhatIsTheirs(t *testing.T) {
	urls := prepare(t)
	for _, schema := range database.Schemas {
		exec(t, urls[schema], "CREATE TABLE "+schema+".things (id int); INSERT INTO things VALUES (1)", "")
	}
	cases := []struct{ name, role, sql, code string }{
		{"an owner reads its own without naming the schema", "clusters", "SELECT * FROM things", ""},
		{"an owner may not read another's", "clusters", "SELECT * FROM syncsets.things", "42501"},
		{"an owner may not create in another's", "reconciler", "CREATE TABLE clusters.more (id int)", "42501"},
		{"an owner may not create a schema", "syncsets", "CREATE SCHEMA another", "42501"},
		{"the developer reads every schema", database.Developer, "SELECT * FROM clusters.things, syncsets.things s, reconciler.things r", ""},
		{"the developer migrates every schema", database.Developer, "CREATE TABLE reconciler.by_hand (id int)", ""},
		{"the owner uses what the developer made", "reconciler", "INSERT INTO by_hand VALUES (1)", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { exec(t, urls[c.role], c.sql, c.code) })
	}
}

func TestTheDeveloperSeesTheClustersServiceFirst(t *testing.T) {
	urls := prepare(t)
	for _, schema := range []string{"reconciler", "clusters"} {
		exec(t, urls[schema], "CREATE TABLE clusters (where_from text); INSERT INTO clusters VALUES ('"+schema+"')", "")
	}
	c, err := pgx.Connect(t.Context(), urls[database.Developer])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var from string
	if err := c.QueryRow(t.Context(), "select * from clusters").Scan(&from); err != nil || from != "clusters" {
		t.Errorf("the row came from %q, %v", from, err)
	}
}

func TestURLsNeedNoQuotesInAShell(t *testing.T) {
	for role, url := range prepare(t) {
		if strings.ContainsAny(url, " ?&'\"$") {
			t.Errorf("the URL of %s needs quotes: %s", role, url)
		}
	}
}

// exec runs sql as the URL's role and expects the SQLSTATE code, "" for success.
func exec(t *testing.T, url, sql, code string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	_, err = c.Exec(t.Context(), sql)
	var pg *pgconn.PgError
	got := ""
	if errors.As(err, &pg) {
		got = pg.Code
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Errorf("%s: got %q (%v), want %q", sql, got, err, code)
	}
}
