#!/bin/sh
# Prints the Krew manifest of a release: packaging/krew/microservice.yaml, with what it leaves open filled in.
#   packaging/krew/release.sh VERSION HOMEPAGE DOWNLOADS DIRECTORY
# VERSION is as in Cargo.toml, DOWNLOADS the address under which v<VERSION>/<archive> will lie, and DIRECTORY has the archives.
set -eu
if [ $# -ne 4 ]; then
  echo "usage: $0 VERSION HOMEPAGE DOWNLOADS DIRECTORY" >&2
  exit 2
fi
version=$1 homepage=$2 downloads=${3%/} directory=$4
here=$(dirname "$0")
case $version in
  *[!0-9A-Za-z.-]* | '' | v*) echo "$version is no version: write it as in Cargo.toml, for example 0.1.0" >&2; exit 2 ;;
esac
for address in "$homepage" "$downloads"; do
  case $address in
    *[!0-9A-Za-z.:/_~%-]*) echo "$address is no address that can stand in the manifest" >&2; exit 2 ;;
    https://?*) ;;
    *) echo "$address does not begin with https://" >&2; exit 2 ;;
  esac
done
fill="s|<VERSION>|$version|g;s|<HOMEPAGE>|$homepage|g;s|<DOWNLOADS>|$downloads|g"
for platform in linux-amd64 linux-arm64 darwin-amd64 darwin-arm64; do
  archive=$directory/kubectl-microservice-$platform.tar.gz
  if [ ! -f "$archive" ]; then
    echo "$archive is missing: build all archives first" >&2
    exit 1
  fi
  sum=$(sha256sum "$archive" | cut -d ' ' -f 1)
  name=$(printf %s "$platform" | tr 'a-z-' 'A-Z_')
  fill="$fill;s|<SHA256_$name>|$sum|"
done
sed -e '/^#/d' -e "$fill" "$here/microservice.yaml"
