// Package providertest holds the tests of whole sessions on sandboxes of providers: what somebody in a
// conversation notices when a provider fails.
package providertest
