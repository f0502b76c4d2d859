# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Where Debian packages come from. Sourced, never run.

# debian_mirror [SUITE]: where apt gets that suite's packages from; without one, this system's own.
debian_mirror() {
    local suite=${1-}
    [[ $suite ]] || suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$suite" '$1 == release && $2 == "main" { print $3; exit }'
}
