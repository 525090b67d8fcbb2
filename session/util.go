package session

import (
	"errors"
	"io"
	"reflect"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// isNil reports whether v is a nil pointer or the like inside of an interface.
func isNil(v any) bool {
	switch x := reflect.ValueOf(v); x.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Interface, reflect.Chan:
		return x.IsNil()
	case reflect.Invalid:
		return true
	}
	return false
}
