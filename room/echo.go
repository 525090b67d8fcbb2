package room

import (
	"fmt"
	"reflect"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/livekit/server-sdk-go/v2/signalling"
	"google.golang.org/protobuf/proto"
)

// echoFilter stands before the SDK's handler of what the server signals, and takes out the answer to a
// leave of our own.
//
// Why: to connect anew, and after an attempt that failed, the SDK tells the server that it leaves, and
// hangs up at once. The server answers with a leave, too, and when that is faster than the hanging up,
// the SDK believes that it was told to go: the call ends instead of going on. A server nearby is fast
// enough every thirtieth time. Only the answer has the reason CLIENT_INITIATED and no wish to see us
// again.
type echoFilter struct {
	signalling.SignalHandler
	left func() bool // we left for good, so that the answer is the end
}

// installEchoFilter must be called before Join, which hands the handler on.
func installEchoFilter(engine *lksdk.RTCEngine, left func() bool) error {
	field := reflect.ValueOf(engine).Elem().FieldByName("signalHandler")
	if !field.IsValid() || field.Type() != reflect.TypeFor[signalling.SignalHandler]() || field.IsNil() {
		return fmt.Errorf("%w: the engine has no handler of signals", errNoGuard)
	}
	handler := settable(field)
	handler.Set(reflect.ValueOf(&echoFilter{handler.Interface().(signalling.SignalHandler), left}))
	return nil
}

// HandleMessage implements signalling.SignalHandler.
func (f *echoFilter) HandleMessage(msg proto.Message) error {
	if r, ok := msg.(*livekit.SignalResponse); ok && isEcho(r.GetLeave()) && !f.left() {
		return nil
	}
	return f.SignalHandler.HandleMessage(msg)
}

func isEcho(l *livekit.LeaveRequest) bool {
	return l != nil && l.Action == livekit.LeaveRequest_DISCONNECT && l.Reason == livekit.DisconnectReason_CLIENT_INITIATED
}
