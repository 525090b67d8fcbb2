package chat

import "slices"

// Changes are what turns one conversation into another, by ids.
type Changes struct {
	Remove []string   // ids that are gone
	Create []Creation // items that are new, in the order in which to insert them
	Update []*Message // messages whose text changed, as they are now
}

// Creation is an item to insert.
type Creation struct {
	After string // id of the item before it; "" for the head
	Item  Item
}

// Diff finds the smallest Changes by which old becomes c; items that moved are removed and
// created. Realtime servers are kept up to date with it.
func (c *Context) Diff(old *Context) Changes { return Compare(old.list(), c.list()) }

// Compare is Diff for conversations whose order is not that of time: what turns from into to.
func Compare(from, to []Item) Changes {
	kept := commonIDs(from, to)
	var ch Changes
	for _, it := range from {
		if _, ok := kept[it.Head().ID]; !ok {
			ch.Remove = append(ch.Remove, it.Head().ID)
		}
	}
	after := ""
	for _, it := range to {
		id := it.Head().ID
		if was, ok := kept[id]; !ok {
			ch.Create = append(ch.Create, Creation{After: after, Item: it})
		} else if m, ok := it.(*Message); ok && textOf(was) != m.Text() {
			ch.Update = append(ch.Update, m)
		}
		after = id
	}
	return ch
}

func textOf(it Item) string {
	if m, ok := it.(*Message); ok {
		return m.Text()
	}
	return ""
}

// commonIDs is the longest common subsequence of ids, with the items of a.
func commonIDs(a, b []Item) map[string]Item {
	kept := make(map[string]Item, min(len(a), len(b)))
	same := func(x, y Item) bool { return x.Head().ID == y.Head().ID }
	for len(a) > 0 && len(b) > 0 && same(a[0], b[0]) {
		kept[a[0].Head().ID] = a[0]
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && same(a[len(a)-1], b[len(b)-1]) {
		kept[a[len(a)-1].Head().ID] = a[len(a)-1]
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	// length[i][j] is the longest of a[i:] and b[j:].
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i, x := range slices.Backward(a) {
		for j, y := range slices.Backward(b) {
			if same(x, y) {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case same(a[i], b[j]):
			kept[a[i].Head().ID] = a[i]
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return kept
}
