// Package speechmatics has Speechmatics' model for live speech to text.
//
// Protocol: https://docs.speechmatics.com/api-ref/realtime-transcription-websocket. It was written from
// the documentation and has met the sandbox only, not the service. Speechmatics names its errors; the
// statuses that they have here, in the numbers of HTTP, are this package's reading of the names.
package speechmatics
