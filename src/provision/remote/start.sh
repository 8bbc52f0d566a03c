# Starts the script as the step's user, after the lines that set its environment.
# Arguments: TOKEN DIRECTORY SCRIPT INTERPRETER [ARGUMENT]. Sets no variables, because all names belong to the user.
cd -- "$2" 2>/dev/null || {
    printf '%s directory %s\n' "$1" "$2"
    exit 125
}
# For a missing interpreter, the kernel and env would say only "not found".
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
