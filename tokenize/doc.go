// Package tokenize cuts streamed text into sentences and words and cleans it for speaking.
//
// Everything here takes text in pieces, as a language model writes it, and gives the same result
// however the text was cut into pieces: a decision is only taken once later text cannot change it.
// Pieces may end in the middle of a UTF-8 character. Bytes that are not UTF-8 become U+FFFD.
//
// The streaming types (Sentences, WordStream, Markdown, Emoji, Replacer) belong to one text at a
// time and are not safe for concurrent use. Flush ends the text; after it the same value may be
// used for the next one. The functions may be called from any goroutine.
package tokenize
