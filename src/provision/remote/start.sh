# Starts the script as the step's user, behind the lines that set its environment.
# Arguments: TOKEN DIRECTORY SCRIPT INTERPRETER [ARGUMENT]. No variables: they are all the user's.
cd -- "$2" 2>/dev/null || {
    printf '%s directory %s\n' "$1" "$2"
    exit 125
}
# The kernel and env say only "not found" when it is the interpreter that is missing.
case $4 in
'') exec "$3" ;;
*/env)
    case ${5-} in
    '' | -* | *=*) ;;
    *) command -v "$5" >/dev/null || {
        printf '%s interpreter %s\n' "$1" "$5"
        exit 125
    } ;;
    esac
    ;;
esac
if ! command -v "$4" >/dev/null || { [ "${4#*/}" != "$4" ] && [ ! -x "$4" ]; }; then
    printf '%s interpreter %s\n' "$1" "$4"
    exit 125
fi
exec "$4" ${5:+"$5"} "$3"
