# What the tests build: the static program that goes into the image, so that one build serves all.
# Sourced.
CARGO_BUILD_TARGET=${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
case ${RUSTFLAGS-} in
    *crt-static*) ;;
    *) RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-C target-feature=+crt-static" ;;
esac
export CARGO_BUILD_TARGET RUSTFLAGS
