// Package asyncai has the voices of Async (async.com).
//
// The key comes from ASYNCAI_API_KEY and the base URL from ASYNCAI_BASE_URL, unless the options say
// otherwise. Protocol: https://docs.async.ai/text-to-speech-websocket-3477526w0
//
// Nothing was tried against the live service. The documentation does not say that a context which is
// closed is still spoken to its end, as is assumed here; nor which errors a wrong key or voice gives.
package asyncai
