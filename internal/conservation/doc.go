// Package conservation holds the test that nothing of what sessions spend is lost or invented:
// TestUsageConservation.
package conservation
