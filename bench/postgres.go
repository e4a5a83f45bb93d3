package main

import (
	"context"
	"database/sql"
	"io"
	"path/filepath"
	"strings"

	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// postgres is a PostgreSQL server, started when somebody asks for it, whose commits wait for
// the disk.
type postgres struct {
	url    string
	server io.Closer
}

// schema makes an empty schema and returns its address; a directory that had one before has
// it again.
func (p *postgres) schema(dir string) (string, error) {
	if p.server == nil {
		var err error
		if p.url, p.server, err = sqldbtest.Start("shared_buffers=256MB"); err != nil {
			return "", err
		}
	}
	name := "b_" + strings.ReplaceAll(filepath.Base(dir), "-", "_")
	c, err := sql.Open("pgx", p.url)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.ExecContext(context.Background(), "create schema if not exists "+name); err != nil {
		return "", err
	}
	return p.url + "&search_path=" + name, nil
}

func (p *postgres) stop() {
	if p.server != nil {
		_ = p.server.Close()
	}
}
