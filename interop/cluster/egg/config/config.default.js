'use strict';

exports.keys = 'for a test';
exports.cluster = { listen: { hostname: '127.0.0.1' } };
