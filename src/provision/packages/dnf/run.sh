# Runs a program in the Python of the machine's dnf. $KARAT_DIRECTORY is its own and is gone afterwards. A function
# `unpack` that writes files into the current directory may be there already; $program is what is run.
set -eu
dnf=$(command -v dnf) || {
    echo 'karat: the machine has no dnf'
    exit 77
}
python=$(sed -n '1s/^#! *\([^ ]*\).*/\1/p' "$dnf")
case $python in
*python*) ;;
*)
    echo "karat: the dnf of this machine is not written in Python (version 4)"
    exit 77
    ;;
esac
