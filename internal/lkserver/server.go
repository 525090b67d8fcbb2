// Package lkserver runs a real LiveKit server inside the process, for tests, examples and demos.
//
// There can be one server per process: LiveKit registers global metrics collectors. Share it and
// keep things apart by the names of the rooms. Goroutines of the server stay behind after Stop, so
// leak checks of packages that use it look only at what came after a warm-up.
package lkserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/livekit/livekit-server/pkg/config"
	"github.com/livekit/livekit-server/pkg/routing"
	"github.com/livekit/livekit-server/pkg/service"
	"github.com/livekit/livekit-server/pkg/telemetry/prometheus"
	"gopkg.in/yaml.v3"
)

// The errors of Start that a caller may want to tell apart.
var (
	// ErrStarted says that this process has, or had, its one server.
	ErrStarted = errors.New("a LiveKit server was started in this process before")
	// ErrPortInUse says that Options.Port is taken.
	ErrPortInUse = errors.New("port is in use")
)

const (
	startTimeout = 5 * time.Second
	secretBytes  = 16 // LiveKit wants at least 32 characters; this is 32 in hex
)

// Options are the settings of a server. The zero value is a quiet server on a free port.
type Options struct {
	Port      int    // TCP port of the API and of signalling on 127.0.0.1; 0 takes a free one
	APIKey    string // default "devkey"
	APISecret string // at least 32 characters; default a random one
	LogLevel  string // what the server prints to standard error: debug, info, warn, error; default error
}

// Server is a running LiveKit server. Its methods may be called from any goroutine.
type Server struct {
	url, key, secret string
	live             *service.LivekitServer
	done             chan struct{} // closed when the server's own Start returned
	err              error         // why it returned; read after done
	stop             sync.Once
}

// started is set by the first Start that got as far as LiveKit's global state.
var started atomic.Bool

// Start starts the server of this process and returns when it accepts connections. It gives up when
// ctx ends, or after 5 seconds. The caller stops it.
func Start(ctx context.Context, opts Options) (_ *Server, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start livekit server: %w", err)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	opts, err = opts.withDefaults()
	if err != nil {
		return nil, err
	}
	conf, err := opts.config()
	if err != nil {
		return nil, err
	}
	if !started.CompareAndSwap(false, true) {
		return nil, ErrStarted
	}
	live, err := initialise(conf)
	if err != nil {
		return nil, err
	}
	s := &Server{
		url:    "ws://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(conf.Port))),
		key:    opts.APIKey,
		secret: opts.APISecret,
		live:   live,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		s.err = live.Start()
	}()
	if err := s.waitRunning(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// URL is where clients and workers connect to, e.g. "ws://127.0.0.1:7880".
func (s *Server) URL() string { return s.url }

// APIKey is the key that tokens and API calls name.
func (s *Server) APIKey() string { return s.key }

// APISecret is the secret that signs tokens and API calls.
func (s *Server) APISecret() string { return s.secret }

// Stop disconnects everybody and stops the server. It may be called more than once.
func (s *Server) Stop() {
	s.stop.Do(func() { s.live.Stop(true) })
	<-s.done
}

func (s *Server) waitRunning(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !s.live.IsRunning() {
		select {
		case <-poll.C:
		case <-s.done:
			return s.err
		case <-ctx.Done():
			go s.stopLate()
			return ctx.Err()
		}
	}
	return nil
}

// stopLate stops a server that nobody waits for any more. It cannot be stopped before it runs.
func (s *Server) stopLate() {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !s.live.IsRunning() {
		select {
		case <-poll.C:
		case <-s.done:
			return
		}
	}
	s.Stop()
}

func (o Options) withDefaults() (Options, error) {
	if o.APIKey == "" {
		o.APIKey = "devkey"
	}
	if o.APISecret == "" {
		b := make([]byte, secretBytes)
		if _, err := rand.Read(b); err != nil {
			return o, err
		}
		o.APISecret = hex.EncodeToString(b)
	}
	if len(o.APISecret) < 2*secretBytes {
		return o, fmt.Errorf("API secret has %d characters, want at least %d", len(o.APISecret), 2*secretBytes)
	}
	if o.LogLevel == "" {
		o.LogLevel = "error"
	}
	return o, nil
}

// config is the server's configuration. It goes through LiveKit's strict YAML reader, so that a key
// that another version does not know is an error and not a surprise.
func (o Options) config() (*config.Config, error) {
	ports, err := freePorts(o.Port)
	if err != nil {
		return nil, err
	}
	type m = map[string]any
	text, err := yaml.Marshal(m{
		"port":           ports.api,
		"bind_addresses": []string{"127.0.0.1"},
		"keys":           m{o.APIKey: o.APISecret},
		// WebRTC calls the ordinary races of a reconnect errors.
		"logging": m{"level": o.LogLevel, "pion_level": "fatal"},
		"rtc": m{
			"udp_port":                  ports.udp,
			"tcp_port":                  ports.tcp,
			"node_ip":                   "127.0.0.1",
			"use_external_ip":           false,
			"enable_loopback_candidate": true, // or nothing connects
			// Without one it names public ones, and clients that look them up in a network without an answer
			// keep their sockets until the look-up gives up. Nothing can be sent to port 0, so this one fails at once.
			"stun_servers": []string{"127.0.0.1:0"},
		},
	})
	if err != nil {
		return nil, err
	}
	return config.NewConfig(string(text), true, nil, nil)
}

func initialise(conf *config.Config) (*service.LivekitServer, error) {
	config.InitLoggerFromConfig(&conf.Logging)
	node, err := routing.NewLocalNode(conf)
	if err != nil {
		return nil, err
	}
	if err := prometheus.Init(string(node.NodeID()), node.NodeType()); err != nil {
		return nil, err
	}
	return service.InitializeServer(conf, node)
}

type ports struct{ api, tcp, udp int }

// freePorts finds ports that are free on the loopback address. The listeners are all open at the
// same time, so the ports differ.
func freePorts(api int) (ports, error) {
	const host = "127.0.0.1"
	var open []io.Closer
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	listen := func(port int) (int, error) {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return 0, err
		}
		open = append(open, l)
		return l.Addr().(*net.TCPAddr).Port, nil
	}
	var p ports
	var err error
	if p.api, err = listen(api); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return p, fmt.Errorf("%w: %d (%w)", ErrPortInUse, api, err)
		}
		return p, fmt.Errorf("port %d: %w", api, err)
	}
	if p.tcp, err = listen(0); err != nil {
		return p, err
	}
	u, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return p, err
	}
	open = append(open, u)
	p.udp = u.LocalAddr().(*net.UDPAddr).Port
	return p, nil
}
