package newport

import (
	"slices"
	"testing"
)

// A system gives out a port again at random, so that some of these are had twice without care.
func TestPortsAreNotHadTwice(t *testing.T) {
	var all []string
	for range lately {
		l, err := Listen()
		if err != nil {
			t.Fatal(err)
		}
		if a := l.Addr().String(); slices.Contains(all, a) {
			t.Fatalf("%s was had before", a)
		} else {
			all = append(all, a)
		}
		_ = l.Close()
	}
}

func TestOldPortsComeBack(t *testing.T) {
	had = nil
	for port := range lately + 1 {
		if !take(port) {
			t.Fatalf("%d is new", port)
		}
	}
	if !take(0) || take(lately) {
		t.Error("the oldest is free again, and the newest is not")
	}
}
