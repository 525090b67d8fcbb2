package metrics

// UsageOf returns what e adds to a Usage, as the line of its model. It returns false for an event that
// adds nothing, as Collector.Add does.
func UsageOf(e Event) (ModelUsage, bool) {
	var s sums
	k, ok := s.of(e)
	if !ok || !s.any() {
		return nil, false
	}
	var line sums
	line.add(&s) // as in a sum, negative numbers are zero
	m := e.Head().Metadata
	return line.line(bucketKey{k, m.ModelProvider, m.ModelName}), true
}
