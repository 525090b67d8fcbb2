// Package nvidia has NVIDIA's PersonaPlex, a model that hears and speaks at the same time.
//
// PersonaPlex is open: one runs the server oneself, on a GPU, for one conversation at a time. There is no key;
// the server's URL is in PERSONAPLEX_URL, unless the options say otherwise. A server with a certificate of
// its own making is trusted when SSL_CERT_FILE names the certificate.
// Server and protocol: https://github.com/NVIDIA/personaplex
package nvidia
