# Sourced by .ci/run and tools/nightly.sh: stages that are Make targets, each with its time.
stages=()

# Run a Make target, and stop it where it takes an hour: a hang fails with the name of the stage.
stage() {
    local begin=$SECONDS status=0
    timeout --kill-after=60 3600 make "$@" || status=$?
    stages+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$1")")
    if [ $status -ne 0 ]; then
        printf '%s\n' "${stages[@]}" "FAILED: make $* (status $status; 124 is out of time)"
        exit $status
    fi
}

# Print the time of each stage and of all. With a budget in minutes, say where it is exceeded.
report() {
    printf '%s\n' "${stages[@]}" "$(printf '%5d s  in all' $SECONDS)"
    if [ $# -gt 0 ] && [ $SECONDS -gt $(($1 * 60)) ]; then
        echo "Over the budget of $1 minutes: move a stage to make nightly."
    fi
}
