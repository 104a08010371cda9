CREATE USER 'etl_reader'@'%' IDENTIFIED BY 'put-a-password-here';
GRANT SELECT ON shop.* TO 'etl_reader'@'%';
