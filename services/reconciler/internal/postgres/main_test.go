package postgres_test

import (
	"testing"

	"github.com/syncsets/syncsets/libs/devstack"
)

func TestMain(m *testing.M) { devstack.Main(m) }
