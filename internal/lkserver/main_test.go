package lkserver_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/parley-go/parley/internal/lkserver"
)

var server *lkserver.Server

func TestMain(m *testing.M) {
	s, err := lkserver.Start(context.Background(), lkserver.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = s
	code := m.Run()
	s.Stop()
	os.Exit(code)
}
