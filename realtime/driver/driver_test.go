package driver_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

func TestSupportedItemsFollowEachOther(t *testing.T) {
	item := func(id, after string) driver.Item {
		return driver.Item{After: after, First: after == "", Item: &chat.Message{Header: chat.Header{ID: id}}}
	}
	can := func(it chat.Item) bool { return it.Head().ID[0] != 'x' }
	got, err := driver.Supported([]driver.Item{item("x1", ""), item("a", "x1"), item("x2", "a"), item("x3", "x2"), item("b", "x3")}, can)
	text := ""
	for _, it := range got {
		text += fmt.Sprintf("%s after %q %v;", it.Item.Head().ID, it.After, it.First)
	}
	if text != `a after "" true;b after "a" false;` {
		t.Error(text)
	}
	var u *driver.UnsupportedItems
	if !errors.Is(err, driver.ErrUnsupported) || !errors.As(err, &u) || len(u.IDs) != 3 {
		t.Error(err)
	}
	if _, err := driver.Supported([]driver.Item{item("a", "")}, can); err != nil {
		t.Error(err)
	}
}
