module github.com/parley-go/parley/plugins/moonshine

go 1.26.0

require (
	github.com/parley-go/parley v0.0.0-00010101000000-000000000000
	github.com/parley-go/parley/models/moonshine v0.0.0-00010101000000-000000000000
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.45.0
)

require (
	github.com/gorilla/websocket v1.5.4-0.20250319132907-e064f32e3674 // indirect
	github.com/pion/randutil v0.1.0 // indirect
	github.com/pion/rtp v1.10.2 // indirect
	github.com/thesyncim/gopus v0.1.2 // indirect
	golang.org/x/net v0.55.0 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

replace (
	github.com/parley-go/parley => ../..
	github.com/parley-go/parley/models/moonshine => ../../models/moonshine
)
