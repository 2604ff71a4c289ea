# Sourced by .ci/run and tools/nightly.sh: stages that are Make targets, each with its time.
stages=()

# Run a Make target for at most an hour, so that a hang fails and the name of its stage is printed.
stage() {
    local begin=$SECONDS status=0
    timeout --kill-after=60 3600 make "$@" || status=$?
    stages+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$1")")
    if [ $status -ne 0 ]; then
        printf '%s\n' "${stages[@]}" "FAILED: make $* (status $status; 124 means out of time)"
        exit $status
    fi
}

# Print the time of each stage and the total. If a budget in minutes is given and exceeded, say so.
report() {
    printf '%s\n' "${stages[@]}" "$(printf '%5d s  in all' $SECONDS)"
    if [ $# -gt 0 ] && [ $SECONDS -gt $(($1 * 60)) ]; then
        echo "Over the budget of $1 minutes: move a stage to make nightly."
    fi
}
