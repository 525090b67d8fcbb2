package wire

import (
	"context"
	"net"
	"sync"
)

// DialFunc makes a connection.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// local has a DialFunc for each address inside of the process.
var local sync.Map

// Local has connections to an address made by dial, also those that are dialled in the background, until
// forget is called: for sandboxes in the memory of the process, inside of testing/synctest bubbles.
func Local(addr string, dial DialFunc) (forget func()) {
	local.Store(addr, dial)
	return func() { local.Delete(addr) }
}

// network dials addresses of the network, and local ones.
func network(d *net.Dialer) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if f, ok := local.Load(addr); ok {
			return f.(DialFunc)(ctx, network, addr)
		}
		return d.DialContext(ctx, network, addr)
	}
}
