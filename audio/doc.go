// Package audio holds PCM audio and what is done to it on the way between a network and a model:
// frames, resampling, Opus, a receive path with jitter buffer and a paced send path.
package audio
