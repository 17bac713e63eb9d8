"""The suites that `image build` knows: archives, keys, kernel packages; a module for each distribution."""
