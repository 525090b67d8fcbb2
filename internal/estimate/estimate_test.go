package estimate

import (
	"testing"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

func TestSizesGrowWithWhatIsSaid(t *testing.T) {
	short, long := Item(chat.NewMessage(chat.User, "Yes.")), Item(chat.NewMessage(chat.User, "Yes, and the ship leaves at noon."))
	if short <= Wrap || long <= short {
		t.Errorf("sizes are %v and %v", short, long)
	}
	if latin, han := Text("abcd"), Text("你好世界"); han <= latin {
		t.Errorf("4 letters are %v, 4 characters %v", latin, han)
	}
	if Tools(nil) != 0 || Tools([]driver.ToolSpec{{Name: "a"}}) <= 0 {
		t.Error("tools have no size")
	}
}

func TestRatioFollowsWhatItSaw(t *testing.T) {
	var r Ratio
	if r.Of(100) != 100 {
		t.Errorf("before anything, 100 are %d", r.Of(100))
	}
	for range 20 {
		r.Learn(300, 100)
	}
	if n := r.Of(100); n < 280 || n > 300 {
		t.Errorf("3 tokens each, 100 are %d", n)
	}
	for range 50 {
		r.Learn(0, 100)
	}
	if n := r.Of(100); n > 10 {
		t.Errorf("what is no tokens any more is %d", n)
	}
	r.Learn(5, 0)
	if n := r.Of(0); n != 0 {
		t.Errorf("nothing is %d", n)
	}
}
