# Draws digits of a CSV file (64 pixels of 0 to 16, then the label; a header line) beside what was predicted for them:
# the first four, and the first four that were read wrong. -v predictions=FILE holds one label for each row.
function draw(title, rows, count,    line, i, y, x) {
    if (count == 0)
        return
    printf "\n%s\n\n", title
    for (y = 0; y < 8; y++) {
        line = ""
        for (i = 1; i <= count; i++) {
            line = line "  "
            for (x = 0; x < 8; x++)
                line = line shade[int((pixel[rows[i], y * 8 + x] + 1) / 2)]
        }
        sub(/ +$/, "", line)
        print line
    }
    line = ""
    for (i = 1; i <= count; i++)
        line = line sprintf("  %-16s", "read " predicted[rows[i]] ", is " label[rows[i]])
    sub(/ +$/, "", line)
    print line
}

BEGIN {
    split("  |..|::|--|==|++|**|%%|@@", parts, "|")
    for (i = 0; i <= 8; i++)
        shade[i] = parts[i + 1]
    while ((getline line < predictions) > 0)
        predicted[++known] = line + 0
}

NR > 1 {
    row = NR - 1
    label[row] = $65 + 0
    wrong = label[row] != predicted[row]
    if (row <= 4)
        first[++firsts] = row
    else if (wrong && mistakes < 4)
        mistake[++mistakes] = row
    else
        next
    for (i = 0; i < 64; i++)
        pixel[row, i] = $(i + 1)
}

END {
    if (known != NR - 1) {
        printf "show-digits: %d predictions for %d digits\n", known, NR - 1 > "/dev/stderr"
        exit 1
    }
    draw("The first four:", first, firsts)
    draw("The first that it got wrong:", mistake, mistakes)
}
