package google

import (
	"strings"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// spoken is what the user says.
type spoken struct {
	item   string // "" while he is silent
	text   string
	since  time.Time
	over   bool // his turn is
	told   bool // as final
	late   bool // words came after that
	speech bool // that he began was told, and not that he stopped
}

// heard takes words of the user.
func (c *liveConn) heard(text, language string) {
	u := &c.user
	switch {
	case c.manual:
	case c.turn: // of the turn that is being answered, unless that was interrupted
		c.userSpeaks()
	default:
		c.userSpeaksAnew()
	}
	c.name()
	if u.text == "" {
		text = strings.TrimLeft(text, " ")
	}
	u.text += text
	if u.told {
		u.late = true
	}
	c.put(&driver.Transcript{ItemID: u.item, Text: u.text, Language: language, StartedAt: u.since})
}

func (c *liveConn) name() {
	if c.user.item == "" {
		c.user.item, c.user.since = metrics.NewID("item_"), time.Now()
		c.known[c.user.item] = true
		c.stale = true
	}
}

// userSpeaks tells that the user speaks, if that is news. Where he is written down, that is how it is known.
func (c *liveConn) userSpeaks() {
	if c.user.over || c.user.speech {
		return
	}
	c.name()
	c.user.speech = true
	c.put(&driver.SpeechStarted{})
}

// userSpeaksAnew is userSpeaks for a turn of its own.
func (c *liveConn) userSpeaksAnew() {
	if c.user.over {
		c.userTold()
		c.user = spoken{}
	}
	c.userSpeaks()
}

// userStops tells that the user's turn is over.
func (c *liveConn) userStops() {
	u := &c.user
	if u.item == "" || u.over {
		return
	}
	u.over = true
	if u.speech {
		u.speech = false
		c.put(&driver.SpeechStopped{ItemID: u.item})
	}
	c.put(&driver.ItemAdded{Item: &chat.Message{Header: chat.Header{ID: u.item, CreatedAt: u.since}, Role: chat.User}})
}

// userTold tells what the user said in a turn that is over, and once more if words came late.
func (c *liveConn) userTold() {
	u := &c.user
	if !u.over || u.told && !u.late {
		return
	}
	u.told, u.late = true, false
	if text := strings.TrimSpace(u.text); text != "" {
		c.put(&driver.Transcript{ItemID: u.item, Text: text, Final: true, StartedAt: u.since})
	}
}

// userBegins is the caller's word for a turn that begins.
func (c *liveConn) userBegins() {
	c.drop()
	c.userTold()
	c.user = spoken{}
	c.name()
}

// userEnds is the caller's word for a turn that is over.
func (c *liveConn) userEnds() {
	c.drop()
	c.awaited = true
	c.userStops()
}
