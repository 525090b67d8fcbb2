package tokenize

import "maps"

// Filter changes text while it is written. Filters are for text that is to be spoken; they are
// Markdown, Emoji and Replacer, and what users write. A filter serves one text at a time and need
// not be safe for concurrent use.
type Filter interface {
	// Push adds text and returns what is decided now; it may be empty.
	Push(text string) string
	// Flush ends the text and returns the rest. The next Push starts a new text.
	Flush() string
}

// Transform makes a Filter for one text: StripMarkdown, StripEmoji, what Replace returns, or a
// user's own. It is safe for concurrent use.
type Transform func() Filter

// StripMarkdown is the Transform by Markdown.
func StripMarkdown() Filter { return new(Markdown) }

// StripEmoji is the Transform by Emoji.
func StripEmoji() Filter { return new(Emoji) }

// Replace is the Transform by Replacer: it replaces the keys of table, in upper or lower case, by their
// values. It keeps a copy of table.
func Replace(table map[string]string) Transform {
	table = maps.Clone(table)
	return func() Filter { return NewReplacer(table, false) }
}

// Chain returns a filter that passes text through filters in order.
func Chain(filters ...Filter) Filter { return chain(filters) }

type chain []Filter

func (c chain) Push(text string) string {
	for _, f := range c {
		if text == "" {
			break
		}
		text = f.Push(text)
	}
	return text
}

func (c chain) Flush() string {
	text := ""
	for _, f := range c {
		if text != "" {
			text = f.Push(text)
		}
		text += f.Flush()
	}
	return text
}

// apply runs one whole text through f.
func apply(f Filter, text string) string { return f.Push(text) + f.Flush() }

// FilterMarkdown returns text without Markdown marks, as Markdown does.
func FilterMarkdown(text string) string { return apply(new(Markdown), text) }

// FilterEmoji returns text without emoji, as Emoji does.
func FilterEmoji(text string) string { return apply(new(Emoji), text) }
