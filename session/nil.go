package session

import "reflect"

// isNil reports whether v is nil, or a nil pointer or the like inside of an interface.
func isNil(v any) bool {
	switch x := reflect.ValueOf(v); x.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Interface, reflect.Chan:
		return x.IsNil()
	case reflect.Invalid:
		return true
	}
	return false
}
