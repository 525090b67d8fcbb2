package metrics

// The methods below are the same for every event: MarshalJSON writes the documented form,
// UnmarshalJSON reads it back, String prints the fields that differ from their default.

func marshal(e Event) ([]byte, error) {
	return appendObject(make([]byte, 0, 512+len(e.Head().Raw)), e.Type(), false, e.(fielder).fields), nil
}

// MarshalJSON implements json.Marshaler.
func (e *LLM) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *LLM) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *LLM) String() string { return format("LLMMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *STT) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *STT) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *STT) String() string { return format("STTMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *TTS) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *TTS) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *TTS) String() string { return format("TTSMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *VAD) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *VAD) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *VAD) String() string { return format("VADMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *EOU) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *EOU) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *EOU) String() string { return format("EOUMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *EOT) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *EOT) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *EOT) String() string { return format("EOTInferenceMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *Realtime) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *Realtime) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *Realtime) String() string { return format("RealtimeModelMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *Interruption) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *Interruption) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *Interruption) String() string { return format("InterruptionMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *Avatar) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *Avatar) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *Avatar) String() string { return format("AvatarMetrics", e) }

// MarshalJSON implements json.Marshaler.
func (e *Connection) MarshalJSON() ([]byte, error) { return marshal(e) }

// UnmarshalJSON implements json.Unmarshaler.
func (e *Connection) UnmarshalJSON(b []byte) error { return unmarshal(e, b) }

// String prints the fields that differ from their default.
func (e *Connection) String() string { return format("ConnectionMetrics", e) }
