// Package aws has Amazon's Nova Sonic, a model that hears and speaks, on Bedrock.
//
// It is a module of its own for the sake of AWS's credential chain: the SDK reads credentials and region from the
// environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION, ...), files, containers or
// the machine, as everywhere with AWS. It also signs; the protocol itself is spoken here, over HTTP/2. Bedrock's
// API keys are not taken for this operation.
//
// Protocol: https://docs.aws.amazon.com/nova/latest/nova2-userguide/speech.html
package aws
