package metrics

import "crypto/rand"

// NewID returns prefix followed by 12 random letters and digits.
func NewID(prefix string) string { return prefix + rand.Text()[:12] }
