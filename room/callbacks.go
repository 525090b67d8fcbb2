package room

import (
	"maps"
	"slices"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/parley-go/parley/session"
)

// LiveKit tells of people who publish no track only every 3 seconds, so their first texts come before
// they do. Texts of people whom nobody knows wait for that.
const (
	earlyTextAge  = 10 * time.Second
	maxEarlyTexts = 64
)

type earlyText struct {
	sender, text string
	at           time.Time
}

// callbacks are what the SDK calls, on goroutines that must not be held up: they only add work to
// the hub.
func (r *Room) callbacks() *lksdk.RoomCallback {
	return &lksdk.RoomCallback{
		OnDisconnected: func() { r.finish(r.sdk.DisconnectReason().String()) },
		OnReconnecting: func() {
			r.setOnline(false)
			r.hub.post(r.onReconnecting)
		},
		OnReconnected: func() {
			r.setOnline(true)
			r.hub.post(r.onReconnected)
		},
		OnParticipantConnected: func(p *lksdk.RemoteParticipant) {
			m := &member{Participant: participantOf(p), key: p}
			r.hub.post(func() { r.presence.arrive(m) })
		},
		OnParticipantDisconnected: func(p *lksdk.RemoteParticipant) {
			identity, reason := p.Identity(), p.DisconnectReason().String()
			if r.texts != nil {
				r.texts.left(identity)
			}
			r.hub.post(func() { r.presence.depart(identity, p, reason) })
		},
		OnActiveSpeakersChanged: func(speakers []lksdk.Participant) {
			var identities []string
			for _, p := range speakers {
				identities = append(identities, p.Identity())
			}
			r.hub.offer(func() { r.emit(ActiveSpeakers{identities}) })
		},
		OnLocalTrackSubscribed: func(pub *lksdk.LocalTrackPublication, _ *lksdk.LocalParticipant) {
			sid := pub.SID()
			r.hub.post(func() { r.onSubscribed(sid) })
		},
		ParticipantCallback: lksdk.ParticipantCallback{
			OnAttributesChanged: func(changed map[string]string, p lksdk.Participant) {
				identity := p.Identity()
				if identity == r.LocalIdentity() {
					return
				}
				now, changed := maps.Clone(p.Attributes()), maps.Clone(changed)
				r.hub.post(func() { r.onAttributes(identity, now, changed) })
			},
			OnLocalTrackPublished: func(pub *lksdk.LocalTrackPublication, _ *lksdk.LocalParticipant) {
				sid, track := pub.SID(), pub.TrackLocal()
				r.hub.post(func() { r.onPublished(sid, track) })
			},
			OnTrackPublished: func(pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
				identity := p.Identity()
				r.hub.post(func() { r.onTrackPublished(pub, identity) })
			},
			OnTrackSubscribed: func(t *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
				if isMic(pub) {
					m := &mic{identity: p.Identity(), sid: pub.SID(), track: t}
					r.hub.post(func() { r.onMic(m) })
				}
				if isVideo(pub) {
					s := &sight{identity: p.Identity(), sid: pub.SID(), codec: t.Codec().MimeType, track: t,
						shrink: func() { pub.SetVideoDimensions(maxSide, maxSide) }, refresh: func() { p.WritePLI(t.SSRC()) }}
					r.hub.post(func() { r.onSight(s) })
				}
			},
			OnTrackUnsubscribed: func(t *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
				r.hub.post(func() { r.onTrackGone(t) })
			},
			OnDataPacket: func(data lksdk.DataPacket, params lksdk.DataReceiveParams) {
				r.onData(data, params.SenderIdentity)
			},
		},
	}
}

func (r *Room) onData(data lksdk.DataPacket, sender string) {
	var e Event
	switch d := data.(type) {
	case *lksdk.UserDataPacket:
		e = DataReceived{Sender: sender, Topic: d.Topic, Payload: d.Payload}
	case *livekit.SipDTMF:
		e = DigitReceived{Sender: sender, Code: d.GetCode(), Digit: d.GetDigit()}
	default:
		return
	}
	if !r.hub.offer(func() { r.emit(e) }) {
		r.log.Warn("dropped a data packet: too many wait", "sender", sender)
	}
}

// onText takes a complete text on the SDK's goroutine.
func (r *Room) onText(sender, text string) {
	if !r.hub.offer(func() { r.deliver(earlyText{sender, text, time.Now()}) }) {
		r.log.Warn("dropped a text: too many wait", "sender", sender)
	}
}

// From here on, everything runs on the dispatcher.

func (r *Room) onJoined(m *member) {
	r.emit(ParticipantJoined{m.Participant})
	if r.bound != nil {
		r.bound.relink()
	}
	early := r.early
	r.early = nil
	for _, t := range early {
		r.deliver(t)
	}
}

// deliver hands a text to the listeners and to the session of its sender.
func (r *Room) deliver(t earlyText) {
	m := r.presence.find(t.sender)
	if m == nil {
		r.early = slices.DeleteFunc(r.early, func(e earlyText) bool { return time.Since(e.at) > earlyTextAge })
		if len(r.early) < maxEarlyTexts && time.Since(t.at) <= earlyTextAge {
			r.early = append(r.early, t)
		}
		return
	}
	r.emit(TextReceived{m.Participant, t.text})
	if b := r.bound; b != nil && !b.opts.NoTextInput && b.link.linked == m {
		b.host.ReceiveText(session.TextInput{Text: t.text, Participant: m.Participant})
	}
}

func (r *Room) onLeft(m *member, reason string) {
	r.emit(ParticipantLeft{m.Participant, reason})
	if r.bound != nil {
		r.bound.left(m, reason)
	}
}

func (r *Room) onAttributes(identity string, now, changed map[string]string) {
	m := r.presence.find(identity)
	if m == nil {
		return
	}
	m.Attributes = now
	r.emit(AttributesChanged{m.Participant, changed})
}

func (r *Room) onReconnecting() {
	r.presence.reconnecting = true
	r.emit(Reconnecting{})
}

func (r *Room) onReconnected() {
	r.presence.reconnected(r.present())
	r.reconnects++
	if r.bound != nil {
		r.bound.box.repeatState()
		r.bound.assumeHearable()
	}
	for _, t := range r.tracks {
		t.out.start() // as assumeHearable does
	}
	r.emit(Reconnected{})
}

// onResumed asks for the tracks that may have been lost on the way: see guard.OnResumed.
func (r *Room) onResumed() {
	if r.bound != nil {
		r.bound.subscribe()
	}
}

// onPublished learns the SID of a track of ours. A full reconnect publishes tracks again.
func (r *Room) onPublished(sid string, track webrtc.TrackLocal) {
	if b := r.bound; b != nil && b.out != nil && track == b.out.local() {
		b.out.sid.Store(&sid)
		if r.subscribed[sid] {
			b.hearable()
		}
	}
	for _, t := range r.tracks {
		if track == t.out.local() {
			t.out.sid.Store(&sid)
			t.startIf(r.subscribed[sid])
		}
	}
}

func (r *Room) onSubscribed(sid string) {
	r.subscribed[sid] = true
	if b := r.bound; b != nil && b.out != nil && b.out.trackSID() == sid {
		b.hearable()
	}
	for _, t := range r.tracks {
		t.startIf(t.out.trackSID() == sid)
	}
}

func (r *Room) onTrackPublished(pub *lksdk.RemoteTrackPublication, identity string) {
	audio := pub.Kind() == lksdk.TrackKindAudio
	mine := r.bound != nil && r.bound.links(identity) && r.bound.wants(pub)
	switch {
	case r.opts.Subscribe == SubscribeAll: // the server does it
	case mine, audio && r.opts.Subscribe == SubscribeAudio, !audio && r.opts.Subscribe == SubscribeVideo:
		r.subscribe(pub)
	}
}

func (r *Room) subscribe(pub *lksdk.RemoteTrackPublication) {
	if err := pub.SetSubscribed(true); err != nil {
		r.log.Warn("could not subscribe to a track", "track", pub.SID(), "error", err)
	}
}

func (r *Room) onMic(m *mic) {
	r.mics = append(r.mics, m)
	if r.bound != nil {
		r.bound.listen()
	}
}

func (r *Room) onSight(s *sight) {
	r.sights = append(r.sights, s)
	if r.bound != nil {
		r.bound.look()
	}
}

func (r *Room) onTrackGone(t *webrtc.TrackRemote) {
	r.mics = slices.DeleteFunc(r.mics, func(m *mic) bool { return m.track == rtpTrack(t) })
	r.sights = slices.DeleteFunc(r.sights, func(s *sight) bool { return s.track == rtpTrack(t) })
	if r.bound != nil {
		r.bound.listen()
		r.bound.look()
	}
}
