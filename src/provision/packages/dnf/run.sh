# Finds the Python that the machine's dnf runs in. $absent is the exit code if there is no dnf 4.
set -eu
dnf=$(command -v dnf) || {
    echo 'karat: the machine has no dnf'
    exit "${absent:-77}"
}
python=$(sed -n '1s/^#! *\([^ ]*\).*/\1/p' "$dnf")
case $python in
*python*) ;;
*)
    echo 'karat: the dnf of the machine is not version 4, which is written in Python'
    exit "${absent:-77}"
    ;;
esac
