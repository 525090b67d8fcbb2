// Package opt has the one type for options with three states: not set, switched off, and a value.
//
// "Not set" means inherit or take the default, "off" means the caller does not want the thing.
// The zero Value is "not set", so options structs work without touching it.
package opt

import (
	"encoding/json"
	"fmt"
)

// Value is an option that is unset (the zero Value), off, or holds a T. It is immutable and safe
// for concurrent use.
type Value[T any] struct {
	state state
	v     T
}

type state uint8

const (
	unset state = iota
	off
	set
)

// Some is an option with a value.
func Some[T any](v T) Value[T] { return Value[T]{state: set, v: v} }

// Off is an option that is switched off.
func Off[T any]() Value[T] { return Value[T]{state: off} }

// Get returns the value and whether there is one.
func (o Value[T]) Get() (T, bool) { return o.v, o.state == set }

// IsUnset reports whether nobody decided.
func (o Value[T]) IsUnset() bool { return o.state == unset }

// IsOff reports whether the option was switched off.
func (o Value[T]) IsOff() bool { return o.state == off }

// Or returns o if somebody decided (on or off), else other.
func (o Value[T]) Or(other Value[T]) Value[T] {
	if o.state == unset {
		return other
	}
	return o
}

// Default returns the value, or def when the option is unset, or the zero T when it is off.
func (o Value[T]) Default(def T) T {
	if o.state == unset {
		return def
	}
	return o.v
}

// String shows the state and the value.
func (o Value[T]) String() string {
	switch o.state {
	case set:
		return fmt.Sprint(o.v)
	case off:
		return "off"
	default:
		return "unset"
	}
}

// MarshalJSON writes the value, or null when there is none.
func (o Value[T]) MarshalJSON() ([]byte, error) {
	if o.state != set {
		return []byte("null"), nil
	}
	return json.Marshal(o.v)
}
