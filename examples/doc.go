// Package examples holds programs to copy from, one per folder.
package examples
