# Prints apt's sources: the architecture, then each file by name with its lines indented by a space.
echo "architecture $(dpkg --print-architecture)"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources /etc/apt/mirrors/*; do
    [ -f "$file" ] || continue
    echo "file $file"
    sed 's/^/ /' "$file"
    # The last line may lack a newline.
    echo
done
