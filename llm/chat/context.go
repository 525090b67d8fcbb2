package chat

// Context is a conversation in order of time. The zero value is empty and ready. It is not safe
// for concurrent use; Copy one to hand it to another goroutine.
type Context struct {
	items []Item
}
