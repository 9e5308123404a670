"""Runs all property tests with the same arguments: npm run test:property [-- --matrices 3000 --seed 1]."""

import sys

import approximations
import weighted

if __name__ == "__main__":
    sys.exit(approximations.main() | weighted.main())
