// Package murf has Murf's voices.
//
// The key comes from MURF_API_KEY and the base URL from MURF_BASE_URL, unless the options say otherwise.
// Protocol: https://murf.ai/api/docs/api-reference/text-to-speech/stream-input
//
// Nothing was tried against the live service. The form of its errors is not documented: whatever names an
// error in a message is taken for one. Nor is it known what the provider bills of a speech that is cut
// off; what was sent is counted.
package murf
