"""Tests of single modules: values and rules, then the filesystem, without a service."""
